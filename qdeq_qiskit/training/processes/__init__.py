"""Training in several processes: each computes its share of every batch, and all of them take the same steps."""
