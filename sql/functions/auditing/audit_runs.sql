-- The second look: which of these runs the ledger still does not agree with. A run may be
-- committed behind the checkpoint by a long transaction and be counted a moment later.
create or replace function meshmetrics.audit_runs(run_ids uuid[])
returns table (run_id uuid, pending boolean)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off -- as in count_runs
set enable_hashjoin = off
set enable_mergejoin = off
as $$
  select u.run_id, u.pending from meshmetrics.uncounted() u where u.run_id = any (run_ids);
$$;
