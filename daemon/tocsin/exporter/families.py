"""Every metric family: its name, type, help and fixed set of labels. docs/metrics.md is the documentation.

Prometheus renames a label `job` to `exported_job`, hence `job_name`.
"""

from prometheus_client import CollectorRegistry, disable_created_metrics

from tocsin.exporter.render import Counter, Gauge, Histogram, Memory, remember

# Seconds. A call is a web request or a long batch: from 10 ms to twice the default timeout.
DURATION_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
# The kernel's timer wakes a process within 100 µs. An overloaded machine is seconds late. Grace is 60 s by default.
LATENESS_BUCKETS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
# One fsync takes a tenth of a millisecond on a good SSD, and seconds on a dying disk.
COMMIT_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


INFO_LABELS = ("job_name", "schedule", "timezone", "method", "host")  # then the labels of the job file


class Families:
    """The families, registered in the order of the output."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # `_created` doubles the counters, and Prometheus ignores it in text
        self.registry = CollectorRegistry()
        self.memories: list[Memory] = []

        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self.build = gauge("tocsin_build_info", "Versions of Tocsin and of its Python.", "version", "python")
        self.config = gauge("tocsin_config_info", "The job file in use, by its hash.", "hash")
        self.reload_successful = gauge(
            "tocsin_config_last_reload_successful",
            "Whether the last load of the job file succeeded; 0: the previous one stays in use.",
        )
        self.reload_success_time = gauge(
            "tocsin_config_last_reload_success_timestamp_seconds",
            "When the job file was last loaded, in Unix time.",
        )
        self.jobs = gauge("tocsin_jobs", "Jobs of the job file; each is in one state.", "state")
        self.ledger_up = gauge("tocsin_ledger_up", "Whether the ledger commits its entries.")
        self.ledger_commit = histogram(
            "tocsin_ledger_commit_seconds", "How long commits of the ledger took.", COMMIT_BUCKETS
        )
        self.ledger_backlog = gauge("tocsin_ledger_backlog", "Entries the ledger has not committed yet.")
        self.ledger_size = gauge(
            "tocsin_ledger_size_bytes", "Bytes that the ledger takes, measured once a minute.", "store"
        )
        self.ledger_free = gauge(
            "tocsin_ledger_free_bytes",
            "Bytes that are free on the volume of a ledger in SQLite, measured once a minute.",
            "store",
        )
        self.ledger_exits = counter(
            "tocsin_ledger_process_exits_total", "Exits of the ledger's process, by reason.", "reason"
        )
        self.node_up = gauge(
            "tocsin_cluster_node_up",
            "Whether a node that shares the ledger lives; 0 for an hour after it died.",
            "node",
        )
        self.clock_offset = gauge(
            "tocsin_cluster_clock_offset_seconds", "How far a node's clock is ahead of the ledger's server.", "node"
        )
        self.job_files = gauge(
            "tocsin_cluster_job_files", "Different job files of the nodes that live: more than 1 during a deploy."
        )
        self.unowned = gauge(
            "tocsin_cluster_jobs_unowned", "Enabled jobs of the job file that no node owns, as this one knows."
        )
        self.events_dropped = counter(
            "tocsin_events_dropped_total", "Events dropped because the exporter was too far behind."
        )
        self.log_lines_dropped = counter(
            "tocsin_log_lines_dropped_total", "Log lines dropped because their reader was too slow."
        )
        self.refused = counter(
            "tocsin_exporter_refused_requests_total", "Requests that the exporter refused, by reason.", "reason"
        )
        self.notifications = counter(
            "tocsin_notifications_total",
            "Messages of the notifier by outcome, for each address: sent; failed, and tried again; given up.",
            "outcome",
        )
        self.notifications_waiting = gauge(
            "tocsin_notifications_waiting", "Messages that an address has not taken yet, once for each address."
        )
        self.pings = counter(
            "tocsin_pings_total", "Pings of heartbeat_url_env and ping_url_env by outcome: taken or failed.", "outcome"
        )
        self.lateness = histogram(
            "tocsin_fire_lateness_seconds",
            "Time from due to request sent, of scheduled runs on time: not manual, caught up or redelivered.",
            LATENESS_BUCKETS,
        )

        self.info = gauge("tocsin_job_info", "A job of the job file, with its `labels`.", *INFO_LABELS)
        self.health = gauge(
            "tocsin_job_health", "1 for the job's health (the worst that applies), else 0.", "job_name", "health"
        )
        self.runs = counter(
            "tocsin_job_runs_total",
            "Runs that ended, by outcome, since the ledger first saw the job: a restart does not reset it.",
            "job_name",
            "outcome",
        )
        self.last_outcome = gauge(
            "tocsin_job_last_run_outcome",
            "1 for the outcome of the last run, else 0; all 0 before the first.",
            "job_name",
            "outcome",
        )
        self.not_run = counter(
            "tocsin_job_slots_not_run_total",
            "Due slots that did not run, by reason, since the ledger first saw the job: a restart does not reset it.",
            "job_name",
            "reason",
        )
        self.responses = counter(
            "tocsin_job_responses_total", "Attempts that got a reply, by HTTP status.", "job_name", "status"
        )
        self.connection_errors = counter(
            "tocsin_job_connection_errors_total",
            "Attempts whose connection failed, by kind; "
            "one that timed out waiting for its reply is in tocsin_job_runs_total.",
            "job_name",
            "kind",
        )
        self.retries = counter("tocsin_job_retries_total", "Attempts after the first of a run.", "job_name")
        self.duration = histogram(
            "tocsin_job_duration_seconds",
            "Time from sending the request to judging the reply, for runs whose request was sent.",
            DURATION_BUCKETS,
            "job_name",
        )
        self.reported = counter(
            "tocsin_job_reported_total", "Sum of the numbers that replies reported in a field.", "job_name", "field"
        )
        self.reported_value = gauge(
            "tocsin_job_reported_value", "The number that the last reply reported in a field.", "job_name", "field"
        )
        self.reported_errors = counter(
            "tocsin_job_reported_errors_total", "Fields of replies without a usable number.", "job_name", "reason"
        )
        self.last_run = gauge(
            "tocsin_job_last_run_timestamp_seconds", "When the last run ended, in Unix time; 0: never.", "job_name"
        )
        self.last_success = gauge(
            "tocsin_job_last_success_timestamp_seconds",
            "When the last successful run ended, in Unix time; 0: never.",
            "job_name",
        )
        self.next_fire = gauge(
            "tocsin_job_next_fire_timestamp_seconds",
            "The next due instant, in Unix time; during a run, the instant at which that run was due.",
            "job_name",
        )
        self.success_deadline = gauge(
            "tocsin_job_success_deadline_timestamp_seconds",
            "When a run must have succeeded: the second fire after the last success, plus timeout and grace.",
            "job_name",
        )
        self.last_lateness = gauge(
            "tocsin_job_last_lateness_seconds",
            "Time from due to request sent, of the last scheduled run on time; 0 before the first.",
            "job_name",
        )
        self.certificate = gauge(
            "tocsin_job_certificate_expiry_timestamp_seconds",
            "When the certificate of the job's host expires, in Unix time; known from its first call over TLS on.",
            "job_name",
        )
        self.failures = gauge(
            "tocsin_job_consecutive_failures",
            "Runs that failed since the last success; a cancelled run counts neither way.",
            "job_name",
        )
        self.alert_after = gauge(
            "tocsin_job_alert_after_failures",
            "Failures in a row at which the job alerts: alert_after, or 1 if the next fire after its last run is over "
            "an hour away, else 3.",
            "job_name",
        )
        self.unreachable = gauge(
            "tocsin_job_unreachable",
            "Whether the last run got no answer from the app: connection_error, timeout, or 502, 503 or 504.",
            "job_name",
        )
        self.missed = gauge(
            "tocsin_job_last_missed_timestamp_seconds",
            "When slots of the job were last found to be missed beyond their grace, in Unix time; 0: never.",
            "job_name",
        )
        self.running = gauge("tocsin_job_running", "Whether a run is in progress.", "job_name")
        self.paused = gauge("tocsin_job_paused", "Whether scheduled slots are skipped.", "job_name")
        self.paused_since = gauge(
            "tocsin_job_paused_since_timestamp_seconds",
            "When the job was paused, in Unix time; 0: it is not paused.",
            "job_name",
        )
        self.paused_until = gauge(
            "tocsin_job_paused_until_timestamp_seconds",
            "When the pause ends by itself, in Unix time; 0: not before it is resumed, or it is not paused.",
            "job_name",
        )
        self.process_up = gauge("tocsin_job_process_up", "Whether the job's process is alive.", "job_name")
        self.process_memory = gauge(
            "tocsin_job_process_private_memory_bytes",
            "Private memory of the job's process, read about once a minute; 0: no process, or not read yet.",
            "job_name",
        )
        self.process_start = gauge(
            "tocsin_job_process_start_time_seconds",
            "When the job's process started, in Unix time; 0: no process.",
            "job_name",
        )
        self.process_exits = counter(
            "tocsin_job_process_exits_total", "Exits of the job's process, by reason.", "job_name", "reason"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        family = Counter(name, text, labels, registry=self.registry)
        self.memories.append(remember(family))
        return family

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        family = Gauge(name, text, labels, registry=self.registry)
        self.memories.append(remember(family))
        return family

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        family = Histogram(name, text, labels, buckets=buckets, registry=self.registry)
        self.memories.append(remember(family))
        return family
