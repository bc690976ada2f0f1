"""What all tests share."""

from hypothesis import settings

# The same examples on every run: a failure is never a matter of luck, nor a success.
settings.register_profile("same", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("same")
