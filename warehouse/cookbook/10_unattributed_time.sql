-- How much time is not attributed or not priced?
-- The two accounts of the ledger; each sums to the run's device time.
SELECT name, account, entry, kernels, duration_ns, share
FROM ledger_summary
ORDER BY name, account, duration_ns DESC;
