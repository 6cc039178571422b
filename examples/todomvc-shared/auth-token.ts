/** What this page shows the sync backend. A real app takes the token of its signed-in user. */
export const syncPayload = { authToken: 'insecure-token-change-me' }
