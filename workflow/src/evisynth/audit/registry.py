"""All rules, by their ids; a rule is added in the module of its kind and is then everywhere."""

from evisynth.audit.numbers import RULES as OF_NUMBERS
from evisynth.audit.records import Rule
from evisynth.audit.reports import RULES as OF_REPORTS
from evisynth.audit.sets import RULES as OF_SETS

RULES: dict[str, Rule] = {rule.id: rule for rule in (*OF_NUMBERS, *OF_SETS, *OF_REPORTS)}
