"""What is asked: the study file and its checks, the names it may use, and the files in which results lie.

It knows nothing of systems, networks or methods but their names, and imports no other room. A job sees a slice of the
study, and its rule a digest of the sources that it runs. Its modules, in the order of imports::

    catalogue seeds door files digest selection sampling clock places glossary schema checks slices twins study
"""
