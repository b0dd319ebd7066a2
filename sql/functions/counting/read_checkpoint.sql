-- How far a walk got.
create or replace function meshmetrics.read_checkpoint(
  walk text,
  out updated_at timestamptz,
  out run_id uuid,
  out done boolean
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  -- Python has no -infinity; the year 1 lies before every run just as well.
  select greatest(c.updated_at, '0001-01-02 00:00:00+00'), c.run_id, c.done
  from meshmetrics.checkpoint c
  where c.name = walk;
$$;
