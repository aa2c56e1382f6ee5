"""The switch of monitoring: the history of a run is in its directory."""

from __future__ import annotations

from typing import Any

from jackfield_parsl.errors import refused
from jackfield_parsl.utils import RepresentationMixin


class MonitoringHub(RepresentationMixin):
    """Has the history of a run kept; ``jackfield report`` and ``dashboard`` show it."""

    def __init__(
        self,
        workflow_name: str | None = None,
        workflow_version: str | None = None,
        logging_endpoint: str | None = None,
        monitoring_debug: bool = False,
        resource_monitoring_enabled: bool = True,
        resource_monitoring_interval: float = 30,
        **others: Any,
    ) -> None:
        self.workflow_name = workflow_name
        self.workflow_version = workflow_version
        self.logging_endpoint = logging_endpoint
        self.monitoring_debug = monitoring_debug
        self.resource_monitoring_enabled = resource_monitoring_enabled
        self.resource_monitoring_interval = resource_monitoring_interval
        self.others = others

    def as_jackfield(self) -> dict[str, dict[str, Any]]:
        """Return the table ``[monitors.parsl]``.

        Raises:
            ConfigurationError: The history is to be in a database of the user's own.
        """
        if self.logging_endpoint is not None:
            raise refused(
                "logging_endpoint",
                "leave it out: the history is a file in the run's directory, and "
                "jackfield export writes it in other forms",
            )
        measured = self.resource_monitoring_enabled
        return {"parsl": {"plugin": "sqlite", "resources": measured}}
