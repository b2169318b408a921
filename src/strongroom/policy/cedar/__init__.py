"""Cedar policies: read, checked, indexed by scope and decided by Cedar's own engine (``cedarpy``)."""
