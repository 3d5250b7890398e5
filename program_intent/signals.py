"""What a host can listen to."""

from django.dispatch import Signal

# Sent by ``send_robust`` once a run has ended and is committed: ``sender`` is the model, ``run`` the run. Counts that
# call for an alert are in it; what a receiver raises is logged by Django and stops nothing.
run_finished = Signal()
