"""The lab: our programs and others in network namespaces of one machine, with real sessions between them."""
