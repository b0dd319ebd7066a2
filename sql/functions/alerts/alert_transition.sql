-- The state machine of alerts: what happens to a rule in this state, given what was found. Evaluation and
-- preview both use it; docs/alerts.md has its diagram, and its table is generated from this function.
--
-- state: as it was. In firing, recovering, flapping and no_data an incident is open.
-- verdict: alert_verdict's.
-- corrected: the runs that the open incident was opened for no longer justify it.
-- recovered: alert_recovered's, for the open incident.
-- reopenings: how often the incident was reopened: the open one or, where none is open, the one that a
--   cause would reopen (within 24 hours then); null: there is none to reopen.
-- flapping: whether that incident is marked as flapping.
-- reminder_due: the open incident has not been acknowledged, and its last notice is old enough.
--
-- action: opened, reopened, flapping (reopened for the third time), corrected, recovered, reminder; null: none.
-- cause: of the incident that it opens or reopens; else null.
-- notice: the kind of notice to send; null: none. in_digest: send it with the daily digest.
create or replace function meshmetrics.alert_transition(
  state text,
  verdict text,
  corrected boolean,
  recovered boolean,
  reopenings integer,
  flapping boolean,
  reminder_due boolean
)
returns table (action text, next_state text, cause text, notice text, in_digest boolean)
language sql
immutable
rows 1
as $$
  select
    a.action,
    case
      when a.action in ('corrected', 'recovered') then 'ok'
      when not b.is_open and a.action is null then verdict
      when not b.is_cause then 'recovering'
      when flapping or a.action = 'flapping' then 'flapping'
      when verdict = 'no_data' then 'no_data'
      else 'firing'
    end,
    case when a.action in ('opened', 'reopened', 'flapping') then verdict end,
    case
      when a.action = 'opened' and verdict = 'no_data' then 'no_data'
      when a.action in ('corrected', 'recovered') then 'resolved'
      else a.action
    end,
    coalesce(
      a.action = 'reopened' or (a.action in ('corrected', 'recovered') and reopenings > 0), false
    )
  from (
    select
      state in ('firing', 'recovering', 'flapping', 'no_data') as is_open,
      meshmetrics.alert_is_cause(verdict) as is_cause
  ) b
  cross join lateral (
    select case
      when not b.is_open then case
        when not b.is_cause then null
        when reopenings is null then 'opened'
        when reopenings >= 2 and not flapping then 'flapping'
        else 'reopened'
      end
      when corrected then 'corrected'
      when recovered then 'recovered'
      when reminder_due and not flapping then 'reminder'
    end as action
    offset 0 -- computed once, not wherever it is named
  ) a
$$;
