"""Circuits on IBM processors through Runtime's estimator: what is asked for, who runs it, what is written down.

The same code serves a processor that answers over the network and a calibrated copy of one on this machine.
"""
