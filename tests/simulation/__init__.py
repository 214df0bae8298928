"""The real engine under a seeded scheduler, virtual time and faults."""
