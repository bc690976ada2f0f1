"""Effect measures: what each needs, how it is computed, shown and cited.

Counts are turned into effects in exact rational arithmetic with one rounding at the end, so
that small differences between large counts lose no digits.
"""

from evisynth.measures.base import Effect as Effect
from evisynth.measures.base import Measure as Measure
from evisynth.measures.effects import compute_effects as compute_effects
from evisynth.measures.effects import corrections as corrections
from evisynth.measures.exact import clopper_pearson as clopper_pearson
from evisynth.measures.exact import garwood as garwood
from evisynth.measures.means import hedges_correction as hedges_correction
from evisynth.measures.proportions import freeman_tukey as freeman_tukey
from evisynth.measures.proportions import inverse_freeman_tukey as inverse_freeman_tukey
from evisynth.measures.registry import MEASURES as MEASURES
from evisynth.measures.registry import configured as configured
from evisynth.measures.registry import measure_of as measure_of
