"""How much of Vault's API is served, and how exactly: a black-box tool over HTTP.

    python -m conformance --corpus FOLDER    (make conformance CORPUS=FOLDER)

A corpus is a folder with an OpenAPI document (``openapi*.json``) and recorded answers (``golden*.jsonl``, a JSON
object a line with method, path, body, status, and the answer under ``json`` or ``response``). Without one the routes of
``routes.tsv`` are sent, the project's own list of methods and paths.
"""
