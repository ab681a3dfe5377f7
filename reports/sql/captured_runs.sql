-- The runs that Ridgeline captured: a bare trace has no generation.
SELECT run_id, device
FROM generations
WHERE list_contains($runs, run_id)
ORDER BY name, run_id
