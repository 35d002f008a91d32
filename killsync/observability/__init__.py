"""What operators see: metrics, figures by the minute, the overview, and what is wrong with it."""
