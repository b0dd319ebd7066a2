/** The channel kinds: all that the dashboard knows about each. */
import type { NewChannel } from '../../../api/alerts';

export type ChannelKind = NewChannel['kind'];

export interface KindText {
  readonly name: string;
  /** The label of the target. */
  readonly target: string;
  readonly hint: string;
  readonly input: 'url' | 'email' | 'text';
  /** Whether its messages are signed with a secret, which can be replaced. */
  readonly secret: boolean;
}

export const KINDS: Record<ChannelKind, KindText> = {
  webhook: {
    name: 'Webhook',
    target: 'URL',
    hint: 'HTTPS only. Requests are signed with a secret that is shown once',
    input: 'url',
    secret: true,
  },
  slack: {
    name: 'Slack',
    target: 'Incoming webhook URL',
    hint: 'Also works with Mattermost',
    input: 'url',
    secret: false,
  },
  email: {
    name: 'Email',
    target: 'Email address',
    hint: 'Nothing is sent until the address is confirmed by the link in a mail',
    input: 'email',
    secret: false,
  },
  pagerduty: {
    name: 'PagerDuty',
    target: 'Integration key',
    hint: 'Of an Events API v2 integration. Put eu: before the key of an account in the EU',
    input: 'text',
    secret: false,
  },
  teams: {
    name: 'Microsoft Teams',
    target: 'Workflow URL',
    hint: 'Of a workflow that starts “When a Teams webhook request is received”',
    input: 'url',
    secret: false,
  },
  discord: {
    name: 'Discord',
    target: 'Webhook URL',
    hint: 'From the settings of a Discord channel, under Integrations',
    input: 'url',
    secret: false,
  },
  telegram: {
    name: 'Telegram',
    target: 'Bot token and chat ID',
    hint: 'With a space between them: 123456:ABC… -1001234567890, or @channel for the ID',
    input: 'text',
    secret: false,
  },
  ntfy: {
    name: 'ntfy',
    target: 'Topic URL',
    hint: 'Such as https://ntfy.sh/my-topic. Append ?auth=… for a protected topic',
    input: 'url',
    secret: false,
  },
};
