/** What a page says to a service worker of a newer build that waits: begin, if no other page is open. */
export const TAKE_OVER = "take over";
