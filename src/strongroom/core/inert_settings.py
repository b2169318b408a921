"""Settings of Vault and OpenBao that do not exist here, as ``sys/config/state/sanitized`` shows them: not set.

Whoever checks a server by its sanitized configuration finds every key with its type. The one that is true says what
always holds here: audit devices may be enabled through the API.
"""

from typing import Any

_FLAGS = """
    allow_audit_log_prefixing allow_unauthenticated_workflows disable_cache disable_clustering disable_indexing
    disable_performance_standby disable_printable_check disable_sealwrap disable_sentinel_trace disable_standby_reads
    enable_response_header_hostname enable_response_header_raft_node_id imprecise_lease_role_tracking
    introspection_endpoint raw_storage_endpoint unsafe_cross_namespace_identity unsafe_relative_paths
"""
_NUMBERS = "cache_size default_max_request_duration plugin_file_permissions plugin_file_uid"
_TEXTS = "cluster_cipher_suites detect_deadlocks log_requests_level plugin_directory"
_TELEMETRY_FLAGS = "add_lease_metrics_namespace_labels disable_hostname stackdriver_debug_logs"
_TELEMETRY_NUMBERS = """
    lease_metrics_epsilon maximum_gauge_cardinality num_lease_metrics_buckets prometheus_retention_time
    usage_gauge_period
"""
_TELEMETRY_TEXTS = """
    circonus_api_app circonus_api_token circonus_api_url circonus_broker_id circonus_broker_select_tag
    circonus_check_display_name circonus_check_force_metric_activation circonus_check_id circonus_check_instance_id
    circonus_check_search_tag circonus_check_tags circonus_submission_interval circonus_submission_url dogstatsd_addr
    metrics_prefix stackdriver_location stackdriver_namespace stackdriver_project_id statsd_address statsite_address
"""


def _unset(flags: str, numbers: str, texts: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(flags.split(), False),
        **dict.fromkeys(numbers.split(), 0),
        **dict.fromkeys(texts.split(), ""),
    }


NOT_SET: dict[str, Any] = {
    **_unset(_FLAGS, _NUMBERS, _TEXTS),
    "unsafe_allow_api_audit_creation": True,
    "telemetry": {**_unset(_TELEMETRY_FLAGS, _TELEMETRY_NUMBERS, _TELEMETRY_TEXTS), "dogstatsd_tags": None},
}
LISTENER_NOT_SET = {"proxy_protocol_authorized_addrs": "", "proxy_protocol_behavior": ""}  # of one listener
