"""All effect measures by their key, in the order of the menu."""

from dataclasses import replace

from evisynth.inputs import check_options, with_defaults
from evisynth.measures.base import Measure, Options
from evisynth.measures.correlations import CORRELATIONS
from evisynth.measures.fourfold import FOURFOLD
from evisynth.measures.generic import GENERIC
from evisynth.measures.hazard import HAZARD
from evisynth.measures.means import MEANS, ONE_MEAN
from evisynth.measures.paired import PAIRED
from evisynth.measures.proportions import PROPORTIONS
from evisynth.measures.rates import RATES
from evisynth.measures.survival import SURVIVAL
from evisynth.records import EffectSizes, Fit

MEASURES: dict[str, Measure] = {
    measure.key: measure
    for measure in (
        *PROPORTIONS,
        *RATES[:3],
        *ONE_MEAN,
        *CORRELATIONS,
        *SURVIVAL,
        *FOURFOLD,
        *RATES[3:],
        *MEANS,
        *PAIRED,
        *GENERIC,
        *HAZARD,
    )
}


def configured(key: str, options: Options | None = None) -> Measure:
    """The measure `key` as `options` make it; what they leave out has its default.

    Raises
    ------
    KeyError
        Unknown measure.
    ValueError
        Unknown option, or a value that it does not allow.
    """
    measure = MEASURES[key]
    given = options or {}
    for option, found, expected in check_options(key, given):
        raise ValueError(f"{key}: option {option} is {found}; expected {expected}")
    if measure.configure is None:
        return measure
    return replace(measure.configure(measure, with_defaults(key, given)), configure=None)


def measure_of(values: EffectSizes | Fit) -> Measure:
    """The measure of effect sizes or of a fit, with their options."""
    return configured(values.measure, values.options)
