"""Fields in motion: what a vector field is, its flow, its tangents and its Lyapunov exponents.

All is written once, for the truth and for a network alike. Its modules, in the order of imports, which may import from
the study's room::

    lyapunov covariant shadowing response integration fields foreign brought activations native kernels ensembles
    networks models drive schemes flow
"""
