-- How far are closed forms from the trace?
-- FLOPs and bytes of a step as predicted and as priced, by part. Errors are prediction over the other value, minus 1.
SELECT
  name, convention, kind, query, context, component, predicted_flops, flops_error, predicted_bytes,
  compulsory_error, cache_model_error
FROM predicted_steps
WHERE profiled_steps > 0
ORDER BY name, convention, kind, query, component;
