"""What a queue costs: estimated from the engine's request model, and measured by its workers' meters. Nothing is written."""

from __future__ import annotations

from s3queue_admin.cost.bill import Bill, Charge, Flow, Rate
from s3queue_admin.cost.estimate import Case, Estimate, WhatIf, estimate_usage, what_if
from s3queue_admin.cost.lane import Latency
from s3queue_admin.cost.load import Load
from s3queue_admin.cost.measured import Heard, Measured, measured
from s3queue_admin.cost.prices import PriceList, load_prices
from s3queue_admin.cost.purposes import Purpose, purpose

__all__ = [
    "Bill", "Case", "Charge", "Estimate", "Flow", "Heard", "Latency", "Load", "Measured", "PriceList", "Purpose", "Rate",
    "WhatIf", "estimate_usage", "load_prices", "measured", "purpose", "what_if",
]  # fmt: skip
