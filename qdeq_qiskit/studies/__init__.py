"""Noise studies: models × noise × shots × mitigation × seeds, on a dask cluster, to a table, figures and a report."""
