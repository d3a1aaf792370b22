"""CDNOW's customers, as the package lifetimes ships them, and the models whose fits of them are published."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.btyd import BetaGeoNBD, ModifiedBetaGeoNBD, ParetoNBD

# The published fits of the CDNOW 1/10 sample: FHL table 2, Gamma-Gamma: FHL05 section 3.
BG_CDNOW = BetaGeoNBD(r=0.243, alpha=4.414, a=0.793, b=2.426)
MBG_CDNOW = ModifiedBetaGeoNBD(r=0.525, alpha=6.183, a=0.891, b=1.614)
PARETO_CDNOW = ParetoNBD(r=0.553, alpha=10.578, s=0.606, beta=11.669)
CDNOW = [BG_CDNOW, MBG_CDNOW, PARETO_CDNOW]


def dataset(name):
    """A file that the PyPI package lifetimes ships, found without importing it."""
    try:
        return Path(str(distribution("lifetimes").locate_file(f"lifetimes/datasets/{name}")))
    except PackageNotFoundError:
        pytest.skip("lifetimes, which ships CDNOW, is not installed: pip install ritorno[demo]")


@pytest.fixture(scope="session")
def cdnow():
    """x, t_x, T in weeks of the 2,357 customers of the 1/10 sample, after 39 weeks."""
    table = pd.read_csv(dataset("cdnow_customers_summary.csv"))
    return [table[column].to_numpy(float) for column in ("frequency", "recency", "T")]


@pytest.fixture(scope="session")
def full_cdnow():
    """x, t_x, T in weeks of all 23,570 customers, after 39 weeks."""
    columns = ["customer", "day", "cds", "amount"]
    lines = pd.read_csv(dataset("CDNOW_master.txt"), sep=r"\s+", header=None, skiprows=1, names=columns)
    lines["day"] = pd.to_datetime(lines["day"].astype(str))
    end = pd.Timestamp("1997-09-30")
    days = lines[lines["day"] <= end].drop_duplicates(["customer", "day"]).groupby("customer")["day"]
    weeks = pd.Timedelta(days=7)
    x, t_x, T = days.size() - 1, (days.max() - days.min()) / weeks, (end - days.min()) / weeks
    return [column.to_numpy(float) for column in (x, t_x, T)]


def values(model):
    return np.array([value for value in model.params().values() if not isinstance(value, str)])


def one(*numbers):
    return [np.array([float(number)]) for number in numbers]
