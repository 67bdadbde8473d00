"""The detector: setup, planning, batch, fitted record, `Detector` and `MuSc`."""
