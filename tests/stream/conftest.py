"""The parts that count, on a real database."""

from tests.support.counting import counter, faulty, inbox, published, telemetry, workflow

__all__ = ["counter", "faulty", "inbox", "published", "telemetry", "workflow"]
