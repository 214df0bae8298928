"""Tools for operators: look into queues, explain what is stuck, repair it. Built on the engine, never imported by it."""
