-- Releases the lease if this holder has it. The row stays: it records when the lease was last renewed.
create or replace function meshmetrics.release_lease(old_holder uuid)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  update meshmetrics.lease l
  set expires_at = '-infinity', renewed_at = clock_timestamp()
  where l.name = 'pipeline' and l.holder = old_holder;
$$;
