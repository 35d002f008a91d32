"""CCP's static data export: fetching it, loading it whole or not at all, and the geography of New Eden."""
