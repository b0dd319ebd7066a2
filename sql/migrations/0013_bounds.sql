-- Bounds on what tenants write, and a counting lock that only the daemon's functions can take.

-- Counting that is under way still holds the lock of before.
select pg_catalog.pg_advisory_xact_lock(5570217644489864242);

create table meshmetrics.counting ();
comment on table meshmetrics.counting is
  'Empty. Its lock is the counting lock: an advisory lock could be taken by anyone who knows its number.';
alter table meshmetrics.counting enable row level security;

create table meshmetrics.alert_quotas (
  project_id uuid not null,
  kind text not null check (kind in ('test', 'replay')),
  since timestamptz not null default now(),
  used integer not null default 1,
  primary key (project_id, kind)
);
comment on table meshmetrics.alert_quotas is
  'How many tests and replays the members of a project asked for since `since`, an hour at most.';
alter table meshmetrics.alert_quotas enable row level security;

-- Times that a client cannot read would break the lists of a tenant's colleagues.
update public.workflow_alert_rules set silenced_until = '9999-12-30 00:00:00+00'
where silenced_until > '9999-12-30 00:00:00+00';
update public.workflow_alert_rules set silenced_until = null
where silenced_until < '0001-01-02 00:00:00+00';
update public.workflow_alert_incidents set acknowledged_at = now()
where acknowledged_at not between '0001-01-02 00:00:00+00' and '9999-12-30 00:00:00+00';
update public.workflow_alert_deliveries set replay_requested_at = now()
where replay_requested_at not between '0001-01-02 00:00:00+00' and '9999-12-30 00:00:00+00';
update public.workflow_alert_channels set disabled_reason = left(disabled_reason, 500)
where length(disabled_reason) > 500;

-- squawk-ignore constraint-missing-not-valid
alter table public.workflow_alert_rules add constraint workflow_alert_rules_silenced_until_check
  check (silenced_until between '0001-01-02 00:00:00+00' and '9999-12-30 00:00:00+00');
-- squawk-ignore constraint-missing-not-valid
alter table public.workflow_alert_incidents add constraint workflow_alert_incidents_acknowledged_at_check
  check (acknowledged_at between '0001-01-02 00:00:00+00' and '9999-12-30 00:00:00+00');
-- squawk-ignore constraint-missing-not-valid
alter table public.workflow_alert_deliveries add constraint workflow_alert_deliveries_replay_requested_at_check
  check (replay_requested_at between '0001-01-02 00:00:00+00' and '9999-12-30 00:00:00+00');
-- squawk-ignore constraint-missing-not-valid
alter table public.workflow_alert_channels add constraint workflow_alert_channels_disabled_reason_check
  check (length(disabled_reason) <= 500);
