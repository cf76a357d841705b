"""The fit verb: a plan of probes over a captured run, carried out cell by cell and resumable at any moment."""
