"""Where she stands: stage and status by the rule of `features.lifecycle`, as codes of `Stage` and `Status`."""

from features.catalogue.declare import Feature
from features.lifecycle import ACTIVITY_STATUS, LIFECYCLE_STAGE

FEATURES = (
    Feature("lifecycle_stage", LIFECYCLE_STAGE, "Code of her lifecycle_stage.", "code", high=4),
    Feature("activity_status", ACTIVITY_STATUS, "Code of her activity_status; 0 without a kept order.", "code", high=4),
)
