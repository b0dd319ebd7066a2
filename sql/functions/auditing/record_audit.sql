-- Notes a finished audit. The last thousand are kept.
create or replace function meshmetrics.record_audit(
  audit_kind text, started timestamptz, runs bigint, buckets bigint, counters bigint, aside bigint
)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  insert into meshmetrics.audits
    (kind, started_at, runs_wrong, buckets_wrong, counters_wrong, runs_set_aside)
  values (audit_kind, started, runs, buckets, counters, aside);
  delete from meshmetrics.audits
  where id <= (select a.id from meshmetrics.audits a order by a.id desc offset 1000 limit 1);
$$;
