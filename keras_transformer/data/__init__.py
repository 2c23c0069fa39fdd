"""The embedded English–Italian sentences; ATTRIBUTION.md tells where they come from."""
