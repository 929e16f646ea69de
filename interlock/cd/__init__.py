"""What only CD decides: plan, order, health, drift, inventory, receipts. Never imports `interlock.ci`."""
