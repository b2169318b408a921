"""The embedded stores. Each kind is a module with ``open_store(options)``; see docs/add-a-store.md."""
