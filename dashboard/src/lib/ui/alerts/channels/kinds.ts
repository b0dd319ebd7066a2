/** The kinds of channels, and the labels of their targets. */
import type { NewChannel } from '../../../api/alerts';

export type ChannelKind = NewChannel['kind'];

export const KINDS: Record<ChannelKind, { name: string; target: string; hint: string }> = {
  webhook: {
    name: 'Webhook',
    target: 'URL',
    hint: 'HTTPS only. Requests are signed with a secret that is shown once',
  },
  slack: {
    name: 'Slack',
    target: 'Incoming webhook URL',
    hint: 'Also works with Mattermost and Discord (append /slack)',
  },
  email: { name: 'Email', target: 'Email address', hint: '' },
};
