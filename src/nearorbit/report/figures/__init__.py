"""The figures: a file per figure, each exporting ``entries()``.

The figures that a talk on this question needs are all here: the distribution of the relative Jacobian error by system,
of trajectories against neighborhoods (``jacobian_error``, with ``methods``); spectra of models against the truth
(``lyapunov_spectra``); interpolation, extrapolation and steps by data and method (``training_outcomes``); attractors
(``attractors``) and forecasts (``forecasts``); and the landscape of the loss under coupling (``landscape``).
"""
