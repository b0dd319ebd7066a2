-- E-mail goes only to addresses that confirmed it, within limits; and five more channel kinds.

alter table public.workflow_alert_channels
  add column confirmed_at timestamptz,
  -- Only e-mail is confirmed: only its receiver can give away a webhook's URL.
  -- The table has a few rows for each project: rewriting it takes no time.
  add column unconfirmed boolean not null
    -- squawk-ignore adding-field-with-default
    generated always as (kind = 'email' and confirmed_at is null) stored,
  add column refusals integer not null default 0,
  -- squawk-ignore ban-drop-constraint
  drop constraint workflow_alert_channels_kind_check,
  -- squawk-ignore constraint-missing-not-valid
  add constraint workflow_alert_channels_kind_check check (
    kind in ('webhook', 'slack', 'email', 'pagerduty', 'teams', 'discord', 'telegram', 'ntfy')
  );
comment on column public.workflow_alert_channels.refusals is
  'How often in a row the mail server refused the address for good.';

alter table public.workflow_alert_deliveries
  -- squawk-ignore ban-drop-constraint
  drop constraint workflow_alert_deliveries_kind_check,
  -- squawk-ignore constraint-missing-not-valid
  add constraint workflow_alert_deliveries_kind_check check (
    kind in (
      'opened', 'reminder', 'reopened', 'resolved', 'flapping', 'no_data', 'test', 'confirm'
    )
  );

-- The addresses of channels made before this are asked now.
insert into public.workflow_alert_deliveries (project_id, channel_id, kind)
select c.project_id, c.id, 'confirm'
from public.workflow_alert_channels c
where c.kind = 'email';

-- Both name a recipient by the keyed hash of the address, which only the daemon can make.
create table meshmetrics.mails (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  project_id uuid not null,
  recipient bytea not null,
  confirmation boolean not null
);
create index mails_at on meshmetrics.mails (at);
create index mails_recipient on meshmetrics.mails (recipient, at);
create index mails_project_id on meshmetrics.mails (project_id, at);
comment on table meshmetrics.mails is 'The mails of the last day, for the limits on their number.';
alter table meshmetrics.mails enable row level security;

create table meshmetrics.mail_unsubscribes (
  project_id uuid not null,
  recipient bytea not null,
  at timestamptz not null default clock_timestamp(),
  primary key (project_id, recipient)
);
comment on table meshmetrics.mail_unsubscribes is
  'Recipients who want no mail of a project, whatever channels it makes.';
alter table meshmetrics.mail_unsubscribes enable row level security;
