"""What is observed: noisy orbits, neighbors in phase space, and what can be told from them without training.

Its modules, in the order of imports, which may import from the rooms study and dynamics; of the truth they get files::

    smoothing kalman delays partial fingerprints observations fitted_field search rings neighbors local_maps local_fits
    surrogates pooled structure
"""
