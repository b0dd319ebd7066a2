"""What the simulated engine runs: two customers' projects, and how their workflows behave."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID, uuid5

NAMESPACE = UUID("6d657368-6d65-5472-9963-730000000002")

Rhythm = tuple[tuple[float, ...], tuple[float, ...]]
"""How busy each hour of a UTC day is against the others, and each day of a week from Monday on
against the average."""


def _hours(busy: str) -> tuple[float, ...]:
    return tuple(float(digit) for digit in busy)


ALWAYS: Rhythm = (_hours("1" * 24), (1.0,) * 7)
OFFICE: Rhythm = (_hours("000000025898678764211000"), (1.3, 1.3, 1.2, 1.2, 1.2, 0.5, 0.3))
NIGHT: Rhythm = (_hours("268521000000000000000000"), (1.0,) * 7)
SHOPPERS: Rhythm = (_hours("421112345566655678998764"), (0.8, 0.8, 0.9, 0.9, 1.1, 1.3, 1.2))


@dataclass(frozen=True, slots=True)
class SimulatedWorkflow:
    """One workflow: how often it runs, and how its runs end."""

    slug: str
    name: str
    runs_per_day: int
    success: float
    """The share of its runs that succeed, of those that are not canceled."""
    canceled: float = 0.01
    """The share of its runs that are canceled, where the project's engine writes that."""
    seconds: float = 20.0
    """How long a run takes in its history. Live ones are short, whatever this says."""
    rhythm: Rhythm = ALWAYS
    breaks: bool = False
    """Whether it breaks and recovers every few minutes when it runs live."""
    new_version_days_ago: int | None = None
    """When its second version was published; before that the first one ran."""


@dataclass(frozen=True, slots=True)
class SimulatedProject:
    """A customer's project. Ids follow from the seed, so that a second start finds its own."""

    seed: int
    name: str
    owner_email: str
    workflows: tuple[SimulatedWorkflow, ...] = field(repr=False)
    writes_statuses: bool = False
    """Whether its engine also pauses, cancels and resumes runs and says `failed`. The real one does
    none of it: a run whose step failed stays `running` for ever."""

    @property
    def id(self) -> UUID:
        return uuid5(NAMESPACE, f"{self.seed}/project/{self.name}")

    @property
    def owner(self) -> UUID:
        return uuid5(NAMESPACE, f"{self.seed}/user/{self.owner_email}")

    def workflow_id(self, workflow: SimulatedWorkflow, version: int) -> UUID:
        return uuid5(NAMESPACE, f"{self.seed}/workflow/{self.name}/{workflow.slug}/{version}")


def simulated_projects(seed: int) -> tuple[SimulatedProject, ...]:
    """Two projects of two owners, a dozen workflows. The first project's engine writes what the
    real one writes; the second's writes every status there is."""
    return (
        SimulatedProject(
            seed,
            "Northwind Retail",
            "ada@northwind.example",
            (
                SimulatedWorkflow(
                    "order-sync",
                    "Order sync to warehouse",
                    220,
                    success=0.985,
                    rhythm=SHOPPERS,
                    new_version_days_ago=11,
                ),
                SimulatedWorkflow(
                    "payment-webhook-relay",
                    "Payment webhook relay",
                    200,
                    success=0.98,
                    seconds=2,
                    rhythm=SHOPPERS,
                    breaks=True,
                ),
                SimulatedWorkflow(
                    "stock-level-alerts", "Stock level alerts", 160, success=0.999, seconds=5
                ),
                SimulatedWorkflow(
                    "abandoned-cart-mails",
                    "Abandoned cart mails",
                    120,
                    success=0.97,
                    rhythm=SHOPPERS,
                ),
                SimulatedWorkflow(
                    "supplier-price-import",
                    "Supplier price import",
                    40,
                    success=0.82,
                    seconds=240,
                    rhythm=OFFICE,
                ),
                SimulatedWorkflow(
                    "refund-approval",
                    "Refund approval",
                    30,
                    success=0.93,
                    canceled=0.12,
                    seconds=900,
                    rhythm=OFFICE,
                ),
                SimulatedWorkflow(
                    "nightly-invoice-export",
                    "Nightly invoice export",
                    24,
                    success=0.995,
                    seconds=400,
                    rhythm=NIGHT,
                ),
            ),
        ),
        SimulatedProject(
            seed,
            "Helios Energy",
            "grace@helios.example",
            (
                SimulatedWorkflow(
                    "meter-readings", "Meter readings intake", 280, success=0.992, seconds=8
                ),
                SimulatedWorkflow(
                    "crm-contact-sync", "CRM contact sync", 80, success=0.61, rhythm=OFFICE
                ),
                SimulatedWorkflow("outage-notices", "Outage notices", 60, success=0.96, seconds=4),
                SimulatedWorkflow(
                    "tariff-recalculation",
                    "Tariff recalculation",
                    20,
                    success=0.9,
                    seconds=600,
                    rhythm=NIGHT,
                ),
                # So few runs that a percentage of its last day says little.
                SimulatedWorkflow(
                    "contract-archive", "Contract archive", 3, success=0.75, rhythm=OFFICE
                ),
            ),
            writes_statuses=True,
        ),
    )
