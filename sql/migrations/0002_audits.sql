-- What audits found, so that anyone can say when the counts were last proven equal to the runs.

create table meshmetrics.audits (
  id bigint generated always as identity primary key,
  kind text not null check (kind in ('cycle', 'snapshot')),
  started_at timestamptz not null,
  finished_at timestamptz not null default clock_timestamp(),
  runs_wrong bigint not null,
  buckets_wrong bigint not null,
  counters_wrong bigint not null,
  runs_set_aside bigint not null
);
create index audits_finished_at on meshmetrics.audits (kind, finished_at);
comment on table meshmetrics.audits is
  'Audits that were finished. cycle: the daemon''s, slice by slice. snapshot: `meshmetrics verify`, all at one moment.';
alter table meshmetrics.audits enable row level security;
