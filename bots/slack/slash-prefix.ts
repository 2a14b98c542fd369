/** In front of a command whose name Slack keeps for itself: `/bot-status`. No command of ours begins with it. */
export const slashPrefix = 'bot-';
