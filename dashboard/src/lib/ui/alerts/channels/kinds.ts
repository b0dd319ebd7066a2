/** What kinds of channels there are, and what their targets are called. */
import type { NewChannel } from '../../../api/alerts';

export type Kind = NewChannel['kind'];

export const KINDS: Record<Kind, { name: string; target: string; hint: string }> = {
  webhook: {
    name: 'Webhook',
    target: 'URL',
    hint: 'https; signed with a secret that you are shown once',
  },
  slack: {
    name: 'Slack',
    target: 'URL of the incoming webhook',
    hint: 'Mattermost and Discord (/slack) understand it, too',
  },
  email: { name: 'E-mail', target: 'Address', hint: '' },
};
