// Drop or choose a mail file: it is read here, in the browser, into the field.
const form = document.querySelector("#try");
const field = form.elements.namedItem("raw");
const choose = document.querySelector("#file");
const LIMIT = 8_000_000;

async function take(file) {
  if (!file) return;
  if (file.size > LIMIT) {
    field.value = "";
    field.placeholder = "This file is too large to try.";
    return;
  }
  field.value = await file.text();
  form.requestSubmit();
}

choose.hidden = false;
choose.querySelector("input").addEventListener("change", (event) => take(event.target.files[0]));

field.addEventListener("dragover", (event) => {
  event.preventDefault();
  field.classList.add("over");
});
field.addEventListener("dragleave", () => field.classList.remove("over"));
field.addEventListener("drop", (event) => {
  if (event.dataTransfer.files.length === 0) return;
  event.preventDefault();
  field.classList.remove("over");
  take(event.dataTransfer.files[0]);
});
