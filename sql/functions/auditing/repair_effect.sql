-- What a repair would do to the ledger now: how many runs it would take out of the counts, and how many it would
-- put in. Pending runs are left out: the daemon counts them, repair or not.
create or replace function meshmetrics.repair_effect(out taken_out bigint, out put_in bigint)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  select
    count(*) filter (where u.outcome is null),
    count(*) filter (where u.counted_outcome is null)
  from meshmetrics.uncounted() u
  where not u.pending;
$$;
