"""Raw video → sample store → what training draws from it (Sect. 4). Knows no torch."""
