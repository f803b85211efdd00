// The checkpoint that comes with the page, and its example pictures.

/** Its name. */
export const EMBEDDED_NAME = "tiny-habit";

/** The address of its folder. */
export const EMBEDDED_URL = new URL(`./weights/${EMBEDDED_NAME}/`, document.baseURI).href;

/** The folder of its example pictures. */
export const DEMO_URL = new URL("demo/", EMBEDDED_URL).href;

/** An example picture with its question. */
export interface DemoPicture {
  /** File name. */
  readonly image: string;
  readonly question: string;
  /** The right answer. */
  readonly answer: string;
  /** How it was chosen. */
  readonly note: string;
}

/** The examples as demo.json lists them. @throws when they cannot be fetched. */
export async function demoPictures(): Promise<readonly DemoPicture[]> {
  const response = await fetch(new URL("demo.json", DEMO_URL));
  if (!response.ok) throw new Error(`demo.json: HTTP ${response.status}`);
  return await response.json();
}
