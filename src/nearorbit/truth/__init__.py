"""What is true: the systems, their attractors and exponents, and the orbits that all else begins with.

The only room that knows equations, and the libraries that compile them; training and forecasting run without it. Its
modules, in the order of imports, which may import from the rooms study and dynamics::

    columns series spectra systems integrators attractors covariant_vectors draws propagators simulation recordings
    twins
"""
