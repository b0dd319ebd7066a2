-- Moves a checkpoint forward. A position behind the present one changes nothing, so that a daemon
-- which lost the lease without knowing cannot set the walk back; unless the present one lies in the future,
-- because the clock was set back.
create or replace function meshmetrics.advance_checkpoint(
  walk text, at timestamptz, at_id uuid, finished boolean
)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  update meshmetrics.checkpoint c
  set updated_at = at, run_id = at_id, done = c.done or finished
  where c.name = walk
    and ((at, at_id) >= (c.updated_at, c.run_id) or c.updated_at > clock_timestamp());
$$;
